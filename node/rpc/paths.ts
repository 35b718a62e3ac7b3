/** Names in the data directory that the daemon and the command line agree on. */

/** The admin socket, where the configuration names no other. */
export const SOCKET_NAME = "rpc.sock";
/** The access token of whoever owns the data directory. */
export const ADMIN_TOKEN_FILE = "admin.token";
