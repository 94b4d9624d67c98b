// Runs before the first paint, so that the chosen theme never flashes in.
try {
  const chosen = localStorage.getItem("msm.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is forbidden here: the system's theme it is.
}
