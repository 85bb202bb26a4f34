// The form of a device: the browser's own position, where one asks for it.
"use strict";

(() => {
  const { say } = window.streamgauge;
  const box = document.querySelector("[data-locate]");
  if (!box || !navigator.geolocation) return;
  const told = box.querySelector("[role=status]");
  box.hidden = false;
  box.querySelector("button").addEventListener("click", () => {
    told.textContent = say("devices.locating");
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        document.getElementById("latitude").value = coords.latitude.toFixed(6);
        document.getElementById("longitude").value = coords.longitude.toFixed(6);
        told.textContent = say("devices.located", { m: Math.round(coords.accuracy) });
      },
      () => (told.textContent = say("devices.not_located")),
      { enableHighAccuracy: true, timeout: 20_000, maximumAge: 0 },
    );
  });
})();
