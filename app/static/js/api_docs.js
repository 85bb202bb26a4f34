// The API's document as a page, by Swagger UI; in the dark where the device is.
"use strict";

(() => {
  const box = document.getElementById("api");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dress();
  dark.addEventListener("change", dress);
  window.SwaggerUIBundle({
    url: box.dataset.document,
    domNode: box,
    deepLinking: true,
    validatorUrl: null,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    // A token is as good as its owner: it is forgotten with the page.
    persistAuthorization: false,
    syntaxHighlight: { activated: true },
    // Its list of servers has no label of its own.
    onComplete: () => document.getElementById("servers")?.setAttribute("aria-label", "Server"),
  });
})();
