// Reads a device's QR code from the camera or a photo, puts its text into the form and sends it. Nothing leaves the browser but
// that text.
"use strict";

(() => {
  const { say } = window.streamgauge;
  const form = document.getElementById("qr-form");
  const told = document.getElementById("told");
  const video = document.getElementById("video");
  const view = document.getElementById("view");
  const camera = document.getElementById("camera");
  const LOOK_EVERY_MS = 150;
  const LARGEST_SIDE = 1_600;
  const canvas = document.createElement("canvas");
  let stream = null;
  let decoder = null;

  form.querySelector("[data-needs-scripts]").hidden = false;
  camera.hidden = !navigator.mediaDevices?.getUserMedia;
  const tell = (key, values) => (told.textContent = key ? say(key, values) : "");

  // jsQR is large and comes only when something is to be read, and not at all where the browser reads codes itself.
  async function makeDecoder() {
    if ("BarcodeDetector" in window && (await BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
      const detector = new BarcodeDetector({ formats: ["qr_code"] });
      return async () => (await detector.detect(canvas))[0]?.rawValue;
    }
    await new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = form.dataset.decoder;
      script.onload = done;
      script.onerror = failed;
      document.head.append(script);
    });
    return async () => {
      const { data, width, height } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
      return window.jsQR(data, width, height)?.data;
    };
  }

  async function read(source, width, height) {
    const share = Math.min(1, LARGEST_SIDE / Math.max(width, height));
    canvas.width = Math.max(1, Math.round(width * share));
    canvas.height = Math.max(1, Math.round(height * share));
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0, canvas.width, canvas.height);
    decoder ??= makeDecoder();
    return (await decoder)();
  }

  function take(text) {
    document.getElementById("text").value = text;
    tell("devices.qr_found");
    form.requestSubmit();
  }

  function stop() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    view.hidden = true;
    camera.querySelector("span").textContent = say("devices.qr_start");
  }

  async function look() {
    if (!stream) return;
    if (video.readyState >= video.HAVE_CURRENT_DATA && video.videoWidth) {
      let text;
      try {
        text = await read(video, video.videoWidth, video.videoHeight);
      } catch {
        stop();
        return tell("devices.qr_failed");
      }
      if (text && stream) {
        stop();
        return take(text);
      }
    }
    setTimeout(look, LOOK_EVERY_MS);
  }

  async function start() {
    tell("devices.qr_asking");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    } catch (error) {
      return tell(error.name === "NotAllowedError" ? "devices.qr_refused" : "devices.qr_no_camera");
    }
    view.hidden = false;
    video.srcObject = stream;
    await video.play();
    camera.querySelector("span").textContent = say("devices.qr_stop");
    tell("devices.qr_hold");
    look();
  }

  camera.addEventListener("click", () => {
    if (stream) {
      stop();
      tell("");
    } else start();
  });
  window.addEventListener("pagehide", stop);

  document.getElementById("photo").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    tell("devices.qr_reading");
    try {
      const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
      const text = await read(picture, picture.width, picture.height);
      picture.close();
      if (text) return take(text);
      tell("devices.qr_nothing");
    } catch {
      tell("devices.qr_no_picture");
    }
    event.target.value = "";
  });
})();
