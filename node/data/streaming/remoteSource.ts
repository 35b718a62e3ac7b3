/**
 * Passes over a Parquet file behind https:// or s3://, where this site's configuration allows it, by
 * the engine's own extension. The node never fetches the extension: the site installs it where the
 * configuration says.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { RecordSource, StreamedLabel } from "../../../src/data/columns.ts";
import { bucketCredentialsSchema, readCredentials } from "./credentials.ts";
import { type EngineLimits, openLockedEngine, sqlText } from "./lockedEngine.ts";
import { parquetIn } from "./parquetSource.ts";

export interface RemoteFile {
	readonly url: string;
	/** Of the bucket; without it, what anybody may read. */
	readonly credentialsFile?: string | undefined;
}

/** What the configuration says of remote files; undefined where none may be read. */
export interface RemoteSettings {
	/** Where the httpfs extension is installed. */
	readonly extensionDirectory: string;
}

const EXTENSION = "httpfs";

/**
 * @throws AlthingError `data.remote_not_allowed`, `data.extension_missing`, `data.credentials`, `data.unreadable`
 */
export async function openRemote(
	{ url, credentialsFile }: RemoteFile,
	label: StreamedLabel,
	limits: EngineLimits,
	remote: RemoteSettings | undefined,
): Promise<RecordSource> {
	if (remote === undefined)
		throw new AlthingError(
			"data.remote_not_allowed",
			`${url} is not on this machine, and this node's configuration reads nothing remote. Its operator may allow it: data.streaming.remote.`,
			{ url },
		);
	const secret = credentialsFile === undefined ? [] : [await secretOf(credentialsFile, url)];
	const engine = await openLockedEngine([url], limits, {
		extensionDirectory: remote.extensionDirectory,
		beforeLock: [`LOAD ${EXTENSION}`, ...secret],
	}).catch((error: unknown) => {
		// The statements hold the bucket's secret, and the engine's errors quote statements.
		const missing = /LOAD|extension/i.test(error instanceof Error ? error.message : "");
		throw new AlthingError(
			missing ? "data.extension_missing" : "data.credentials",
			missing
				? `${url} needs DuckDB's ${EXTENSION} extension, which is not installed in ${remote.extensionDirectory} for this version. Fetch it with \`INSTALL ${EXTENSION}\` in DuckDB's own shell of the same version, and point data.streaming.remote.extensionDirectory at it.`
				: `The credentials file ${credentialsFile} is not accepted by the ${EXTENSION} extension.`,
			{ url },
		);
	});
	try {
		return await parquetIn(engine, url, url, label);
	} catch (error) {
		engine.close();
		throw error;
	}
}

/** The statement that gives the engine the bucket's credentials, for this file alone. */
async function secretOf(file: string, url: string): Promise<string> {
	const { keyId, secret, sessionToken, region, endpoint } = await readCredentials(
		file,
		bucketCredentialsSchema,
	);
	const options = [
		"TYPE s3",
		`KEY_ID ${sqlText(keyId)}`,
		`SECRET ${sqlText(secret)}`,
		...(sessionToken === undefined ? [] : [`SESSION_TOKEN ${sqlText(sessionToken)}`]),
		...(region === undefined ? [] : [`REGION ${sqlText(region)}`]),
		...(endpoint === undefined ? [] : [`ENDPOINT ${sqlText(endpoint)}`, "URL_STYLE 'path'"]),
		`SCOPE ${sqlText(url)}`,
	];
	return `CREATE SECRET bucket (${options.join(", ")})`;
}
