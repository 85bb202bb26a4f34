// A download says nothing of how far it is; once one has begun, the page asks the server.
"use strict";

document.addEventListener("submit", (event) => {
  if (event.target.id === "export-form") htmx.trigger("#export-watch", "exporting");
});
