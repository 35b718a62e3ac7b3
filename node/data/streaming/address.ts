/** Addresses of records that are not in a file of this machine. */
import { AlthingError } from "../../../crypto/error.ts";
import type { PostgresTable } from "./postgresSource.ts";
import type { RemoteFile } from "./remoteSource.ts";

/** What an operator gives beside an address. */
export interface AddressOptions {
	/** Postgres: the table or view, `public` being its schema unless one is named. */
	readonly table?: string | undefined;
	/** File with the credentials: required for Postgres, optional for S3. */
	readonly credentials?: string | undefined;
}

const SCHEME = /^([a-z][a-z0-9]*):\/\//;
const POSTGRES_PORT = 5432;

export function isAddress(text: string): boolean {
	return SCHEME.test(text);
}

/** @throws AlthingError `data.bad_address` */
export function parseAddress(
	text: string,
	options: AddressOptions,
): ({ readonly kind: "postgres" } & PostgresTable) | ({ readonly kind: "remote" } & RemoteFile) {
	const scheme = SCHEME.exec(text)?.[1];
	switch (scheme) {
		case "postgres":
		case "postgresql":
			return { kind: "postgres", ...postgresTable(urlOf(text), options) };
		case "https":
		case "s3":
			return { kind: "remote", ...remoteFile(urlOf(text), scheme, options) };
		default:
			throw refuse(`records are read from postgres://, https:// and s3://, not from ${scheme ?? "this"}://`);
	}
}

function urlOf(text: string): URL {
	if (!URL.canParse(text)) throw refuse("it is not a valid address");
	const url = new URL(text);
	// It would be kept, shown and logged with the address.
	if (url.username !== "" || url.password !== "")
		throw refuse(
			"a user or password does not belong into an address: put it into a file and name that with --credentials",
		);
	if (url.search !== "" || url.hash !== "") throw refuse("it must end with its path, without ? and #");
	return url;
}

function postgresTable(url: URL, { table, credentials }: AddressOptions): PostgresTable {
	const database = decodeURIComponent(url.pathname.slice(1));
	if (url.hostname === "" || database === "" || database.includes("/"))
		throw refuse("host and database are needed: postgres://HOST[:PORT]/DATABASE");
	if (table === undefined || credentials === undefined)
		throw refuse("--table [SCHEMA.]TABLE and --credentials FILE are needed for a Postgres table");
	const parts = table.split(".");
	const [name = "", schema = "public"] = parts.toReversed();
	if (parts.length > 2 || name === "" || schema === "") throw refuse("--table is [SCHEMA.]TABLE");
	const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
	const port = url.port === "" ? POSTGRES_PORT : Number(url.port);
	return { host, port, database, schema, table: name, credentialsFile: credentials };
}

function remoteFile(url: URL, scheme: "https" | "s3", { table, credentials }: AddressOptions): RemoteFile {
	if (table !== undefined) throw refuse("--table belongs to a Postgres database");
	if (credentials !== undefined && scheme !== "s3") throw refuse("--credentials belongs to Postgres and S3");
	// Wildcards would let the owner of the bucket decide what is read.
	if (!/\.parquet$/i.test(url.pathname) || /[*?[\]{}]/.test(decodeURIComponent(url.pathname)))
		throw refuse("one Parquet file is read, whose name ends in .parquet");
	return { url: url.href, ...(credentials === undefined ? {} : { credentialsFile: credentials }) };
}

function refuse(why: string): AlthingError {
	return new AlthingError("data.bad_address", `The address of the records cannot be used: ${why}.`);
}
