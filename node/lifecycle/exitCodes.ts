/**
 * How the daemon's process ends, for scripts and service managers. The numbers follow
 * sysexits(3) where it has one.
 */
export const EXIT = {
	/** Stopped as asked (SIGTERM, SIGINT), everything drained. */
	stopped: 0,
	/** Stopped before it was drained: a second signal, or the drain deadline passed. */
	forced: 1,
	/** A defect: an uncaught exception or rejection. Restarting may help; please report it. */
	internalError: 70,
	/** Data directory, journal or store cannot be read or written, or is corrupt. Restarting does not help. */
	storage: 74,
	/** Another instance has the data directory, or a port is taken. Restarting later may help. */
	busy: 75,
	/** Keystore closed: wrong passphrase, wrong permissions. */
	noPermission: 77,
	/** The configuration is wrong. Restarting does not help. */
	configuration: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const BY_CODE: Readonly<Record<string, ExitCode>> = {
	"lifecycle.already_running": EXIT.busy,
	"network.port_taken": EXIT.busy,
	"health.port_taken": EXIT.busy,
	"rpc.port_in_use": EXIT.busy,
	"rpc.socket_in_use": EXIT.busy,
	"rpc.tls_files": EXIT.configuration,
	"rpc.tls_required": EXIT.configuration,
	"store.locked": EXIT.busy,
};

const BY_AREA: Readonly<Record<string, ExitCode>> = {
	config: EXIT.configuration,
	keystore: EXIT.noPermission,
	store: EXIT.storage,
	lifecycle: EXIT.storage,
};

/** The exit code for an error that kept the daemon from starting or made it end. */
export function exitCodeOf(error: unknown): ExitCode {
	const code = (error as { code?: unknown } | null)?.code;
	if (typeof code !== "string") return EXIT.internalError;
	return BY_CODE[code] ?? BY_AREA[code.split(".")[0] ?? ""] ?? EXIT.internalError;
}
