// The API's document as a page, by Swagger UI; in the dark where the device is.
"use strict";

(() => {
  const box = document.getElementById("api");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  // What Swagger UI leaves out: a label of its list of servers, headings that follow one another, parts that have a name.
  function mend() {
    for (const [part, label] of Object.entries({ ".information-container": "About", ".scheme-container": "Token" })) {
      const found = box.querySelector(part);
      found?.setAttribute("role", "region");
      found?.setAttribute("aria-label", label);
    }
    document.getElementById("servers")?.setAttribute("aria-label", "Server");
    for (const heading of box.querySelectorAll("h3.opblock-tag")) heading.setAttribute("aria-level", "2");
  }

  dress();
  dark.addEventListener("change", dress);
  window.SwaggerUIBundle({
    url: box.dataset.document,
    domNode: box,
    // Its links would stand inside of buttons.
    deepLinking: false,
    validatorUrl: null,
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    // A token is as good as its owner: it is forgotten with the page.
    persistAuthorization: false,
    syntaxHighlight: { activated: true },
    onComplete: mend,
  });
})();
