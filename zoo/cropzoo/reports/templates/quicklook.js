// Sets the opacity of the labels over the imagery.
const opacity = document.getElementById("opacity");
if (opacity) opacity.addEventListener("input", () => document.documentElement.style.setProperty("--labels", opacity.value));
