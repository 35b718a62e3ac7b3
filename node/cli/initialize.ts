/** `althing init`: a data directory with sealed keys and a first configuration. */
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { AlthingError } from "../../crypto/error.ts";
import { createKeystore } from "../keystore/keystore.ts";
import { readPassphrase } from "../keystore/passphrase.ts";
import { prepareDataDirectory } from "../lifecycle/dataDirectory.ts";
import { CONFIG_FILE } from "./session.ts";

export interface Initialized {
	readonly dataDirectory: string;
	readonly configFile: string;
	readonly organization: string;
	readonly peer: string;
}

/**
 * Makes configuration and keystore. Throws `config.exists` and `keystore.exists` rather
 * than replace either, `usage.missing_organization` when there is nobody to ask.
 */
export async function initialize(options: {
	directory: string;
	organization?: string;
	passphraseFile?: string;
}): Promise<Initialized> {
	const organization = checkedName(options.organization ?? (await askOrganization()));
	const passphrase = await readPassphrase({ file: options.passphraseFile, confirm: true });
	const dataDirectory = await prepareDataDirectory(options.directory);
	const configFile = join(dataDirectory, CONFIG_FILE);
	await writeConfiguration(configFile, organization);
	try {
		const { peer } = await createKeystore({ directory: dataDirectory, passphrase });
		return { dataDirectory, configFile, organization, peer };
	} catch (error) {
		// Ours from a moment ago; without keys it would only be in the way of the next try.
		await unlink(configFile);
		throw error;
	}
}

async function writeConfiguration(path: string, organization: string): Promise<void> {
	const { stringify } = await import("yaml");
	const text = [
		"# Configuration of an Althing node. Every key and its default: configs/node.schema.json",
		stringify({ organization: { name: organization } }).trimEnd(),
		"",
	].join("\n");
	try {
		const file = await open(path, "wx", 0o600);
		await file.writeFile(text);
		await file.sync();
		await file.close();
	} catch (cause) {
		if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
		throw new AlthingError(
			"config.exists",
			`${path} exists already; it is not replaced. Choose another --data-dir, or edit it.`,
			{ file: path },
			{ cause },
		);
	}
}

function checkedName(name: string): string {
	const trimmed = name.trim();
	if (trimmed.length >= 1 && trimmed.length <= 100 && !/\p{Cc}/u.test(trimmed)) return trimmed;
	throw new AlthingError(
		"usage.organization",
		"The organization's name must be 1 to 100 printable characters.",
		{},
	);
}

async function askOrganization(): Promise<string> {
	if (!process.stdin.isTTY) {
		throw new AlthingError(
			"usage.missing_organization",
			"Give --organization NAME, or run on a terminal.",
			{},
		);
	}
	const { isCancel, text } = await import("@clack/prompts");
	const answer = await text({ message: "This organization's name, as the federation will see it" });
	if (isCancel(answer)) throw new AlthingError("usage.cancelled", "Cancelled. Nothing was written.", {});
	return answer;
}
