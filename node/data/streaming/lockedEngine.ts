/**
 * DuckDB, locked down before it sees a record: it reads the paths of one data set and nothing else,
 * loads no extension that the site did not install, writes nothing, and its settings cannot be changed
 * back. The only statements it is given are those of this folder, never text from a job or a peer; the
 * lock is for the day when somebody finds a way around that.
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";

export interface EngineLimits {
	readonly threads: number;
	/** Of the engine's own buffers. It spills nothing to the disk: what does not fit is an error. */
	readonly memoryMiB: number;
}

export interface LockedEngine {
	readonly connection: DuckDBConnection;
	close(): void;
}

/**
 * @param paths what may be read, and nothing else
 * @param beforeLock statements that need what the lock takes away (loading an installed extension)
 */
export async function openLockedEngine(
	paths: readonly string[],
	limits: EngineLimits,
	options: { readonly extensionDirectory?: string; readonly beforeLock?: readonly string[] } = {},
): Promise<LockedEngine> {
	const instance = await DuckDBInstance.create(":memory:", {
		threads: String(limits.threads),
		memory_limit: `${limits.memoryMiB}MiB`,
		temp_directory: "",
		// A pass reads every byte once: what it would keep of the file is never asked for again.
		enable_external_file_cache: "false",
		autoinstall_known_extensions: "false",
		autoload_known_extensions: "false",
		allow_community_extensions: "false",
		allow_persistent_secrets: "false",
		...(options.extensionDirectory === undefined ? {} : { extension_directory: options.extensionDirectory }),
	});
	try {
		const connection = await instance.connect();
		for (const statement of options.beforeLock ?? []) await connection.run(statement);
		await connection.run(`SET allowed_paths = [${paths.map(sqlText).join(", ")}]`);
		await connection.run("SET enable_external_access = false");
		await connection.run("SET lock_configuration = true");
		return {
			connection,
			close: () => {
				connection.closeSync();
				instance.closeSync();
			},
		};
	} catch (error) {
		instance.closeSync();
		throw error;
	}
}

/** A text literal. */
export function sqlText(text: string): string {
	return `'${text.replaceAll("'", "''")}'`;
}

/** A quoted name. */
export function sqlName(name: string): string {
	return `"${name.replaceAll('"', '""')}"`;
}
