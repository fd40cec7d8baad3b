// Runs before the first paint, so that the chosen theme does not flash. Not a module for that reason.
'use strict';
try {
  const chosen = localStorage.getItem('bitroster-theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's theme holds.
}
