// Writes lora_packet.json: an OTAA join and its first ten uplinks as made by lora-packet (npm, MIT licence), a LoRaWAN
// implementation that shares no code with streamgauge/lorawan. The tests compare byte for byte, both ways; they need the
// recorded file only. To make it anew:
//
//   npm install --no-save --prefix build lora-packet@0.9.3
//   NODE_PATH=build/node_modules node tests/data/lorawan/make_with_lora_packet.mjs > tests/data/lorawan/lora_packet.json
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const lora = require("lora-packet");
const { version } = require("lora-packet/package.json");

const bytes = (text) => Buffer.from(text, "hex");
const hex = (buffer) => buffer.toString("hex").toUpperCase();

const appKey = bytes("B6B53F4A168A7A88BDF7EA135CE9CFCA");
const joinEui = bytes("70B3D57ED0000DEC");
const devEui = bytes("0004A30B001C0530");

function joinAccept(fields) {
  const phy = lora.fromFields({ MType: "Join Accept", ...fields }, null, null, appKey).getPHYPayload();
  const opened = lora.fromWire(lora.decryptJoinAccept(lora.fromWire(phy), appKey));
  for (const name of ["AppNonce", "NetID", "DevAddr"]) {
    if (!opened[name].equals(fields[name])) throw new Error(`lora-packet reads back another ${name}`);
  }
  return hex(phy);
}

function session(devNonce, appNonce, netId, devAddr, cfList) {
  const request = lora.fromFields(
    { MType: "Join Request", AppEUI: joinEui, DevEUI: devEui, DevNonce: devNonce }, null, null, appKey,
  );
  if (!lora.verifyMIC(request, null, appKey)) throw new Error("lora-packet does not verify its own join-request");
  const fields = { AppNonce: appNonce, NetID: netId, DevAddr: devAddr, DLSettings: 0x00, RxDelay: 0x01 };
  const keys = lora.generateSessionKeys10(appKey, netId, appNonce, devNonce);
  return {
    dev_nonce: hex(devNonce), app_nonce: hex(appNonce), net_id: hex(netId), dev_addr: hex(devAddr),
    cf_list: cfList ? hex(cfList) : "",
    nwk_s_key: hex(keys.NwkSKey), app_s_key: hex(keys.AppSKey),
    join_request: hex(request.getPHYPayload()),
    join_accept: joinAccept(cfList ? { ...fields, CFList: cfList } : fields),
    keys,
  };
}

// The frames of a water level sensor's first hours, and what is rare: confirmed, options, port 0, a counter beyond 16 bits.
const wanted = [
  { f_cnt: 0, f_port: 1, payload: "0203E80003005A0C60" },
  { f_cnt: 1, f_port: 1, payload: "0203E80003005C0C5F", confirmed: true },
  { f_cnt: 2, f_port: 85, payload: "01756403670D0104826810" },
  { f_cnt: 3, f_port: 1, payload: "", adr: true },
  { f_cnt: 4, f_port: 1, payload: "00", adr: true, adr_ack_req: true },
  { f_cnt: 5, f_port: 2, payload: "000102030405060708090A0B0C0D0E0F", ack: true },
  { f_cnt: 6, f_port: 2, payload: "000102030405060708090A0B0C0D0E0F10" },
  { f_cnt: 7, f_port: 223, payload: "FF".repeat(51), f_opts: "0307" },
  { f_cnt: 8, f_port: 0, payload: "0307" },
  { f_cnt: 65546, f_port: 1, payload: "0203E80003005A0C60" },
];

function uplink(joined, want) {
  const high = Buffer.alloc(2);
  high.writeUInt16LE(want.f_cnt >>> 16);
  const packet = lora.fromFields(
    {
      MType: want.confirmed ? "Confirmed Data Up" : "Unconfirmed Data Up",
      DevAddr: bytes(joined.dev_addr),
      FCtrl: { ADR: !!want.adr, ADRACKReq: !!want.adr_ack_req, ACK: !!want.ack, FPending: false },
      FCnt: want.f_cnt & 0xffff,
      FPort: want.f_port,
      FOpts: bytes(want.f_opts ?? ""),
      payload: bytes(want.payload),
    },
    joined.keys.AppSKey, joined.keys.NwkSKey, null, high,
  );
  if (!lora.verifyMIC(packet, joined.keys.NwkSKey, null, high)) throw new Error(`MIC of uplink ${want.f_cnt}`);
  return { ...want, phy_payload: hex(packet.getPHYPayload()) };
}

const first = session(bytes("CC85"), bytes("E5063A"), bytes("000013"), bytes("26012E43"), null);
const second = session(bytes("CC86"), bytes("0005F1"), bytes("000000"), bytes("01A2B3C4"), bytes("184F84E85684B85E84886684586E8400"));
const uplinks = wanted.map((want) => uplink(second, want));
const downlink = lora.fromFields(
  { MType: "Unconfirmed Data Down", DevAddr: bytes(second.dev_addr), FCtrl: { ACK: true }, FCnt: 7, FPort: 3, payload: bytes("A1B2C3") },
  second.keys.AppSKey, second.keys.NwkSKey,
);
for (const joined of [first, second]) delete joined.keys;
console.log(JSON.stringify({
  about: "Made by make_with_lora_packet.mjs. Hex; EUIs, DevAddr, nonces and keys as printed, frames as on the air.",
  made_with: `lora-packet ${version} (MIT)`,
  app_key: hex(appKey), join_eui: hex(joinEui), dev_eui: hex(devEui),
  joins: [first, second], uplinks,
  downlink: { f_cnt: 7, f_port: 3, payload: "A1B2C3", ack: true, phy_payload: hex(downlink.getPHYPayload()) },
}, null, 1));
