/** What a VM world needs to replay: loaded when its start message says that it replays. */
export { loadPlugins } from "./plugin_side.ts";
export { ReplaySide } from "./replay_side.ts";
