/** The pretended organizations: a data directory each, as `althing init` makes it, with policy and records. */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { AlthingError } from "../crypto/error.ts";
import { initialize } from "../node/cli/initialize.ts";
import type { JobSpec } from "../src/training/jobSpec.ts";
import { csvText, type DataSlices } from "./dataSlices.ts";
import { organizationName } from "./names.ts";

/** What every data set may spend beyond the job, so that a round that must be repeated can be paid for. */
const SPARE_EPSILON = 1.25;
const LEAST_EPSILON = 10;
const DELTA = 1e-5;

export interface Organization {
	readonly name: string;
	readonly slug: string;
	readonly dataDirectory: string;
	readonly configFile: string;
	readonly passphraseFile: string;
	readonly peer: string;
	/** The organization's records, CSV. */
	readonly dataFile: string;
	readonly rows: number;
}

/**
 * Makes the directories of all organizations, side by side.
 * @param root an existing directory; each organization gets a folder in it
 * @throws AlthingError as `althing init` does, e.g. when a directory is there already
 */
export async function foundOrganizations(root: string, slices: DataSlices): Promise<Organization[]> {
	return Promise.all(
		slices.sites.map(async (slice, index) => {
			const { name, slug } = organizationName(index);
			const home = join(root, slug);
			await makeHome(home);
			const passphraseFile = join(home, "passphrase");
			await writeFile(passphraseFile, `${randomBytes(16).toString("hex")}\n`, { mode: 0o600 });
			const dataFile = join(home, `${slices.description.name}.csv`);
			const { label } = slices.description;
			await writeFile(dataFile, csvText(slice, label.kind === "none" ? undefined : label.column), {
				mode: 0o600,
			});
			const { dataDirectory, configFile, peer } = await initialize({
				directory: join(home, "node"),
				organization: name,
				passphraseFile,
			});
			const organization = {
				name,
				slug,
				dataDirectory,
				configFile,
				passphraseFile,
				peer,
				dataFile,
				rows: slice.rows,
			};
			return organization;
		}),
	);
}

/** Never one that is there already: its keys and its journal would be lost. */
async function makeHome(path: string): Promise<void> {
	try {
		await mkdir(path, { mode: 0o700 });
	} catch (cause) {
		if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
		throw new AlthingError(
			"testnet.directory_in_use",
			`${path} exists already, perhaps from an earlier testnet; it is not touched. Choose another --directory, or remove it.`,
			{ path },
			{ cause },
		);
	}
}

/**
 * Writes the organization's configuration: loopback only, policies that accept the testnet's job
 * and members without asking a person.
 * @param network the address to listen on, port 0 for a free one, and the one to find others through
 */
export async function writeConfiguration(
	{ name, configFile }: Organization,
	job: JobSpec,
	network: { readonly listen: string; readonly bootstrap: readonly string[] },
): Promise<void> {
	const { privacy } = job;
	const epsilon = privacy.mechanism === "none" ? 0 : privacy.epsilon;
	const allowed = Math.min(100, Math.max(LEAST_EPSILON, epsilon * SPARE_EPSILON));
	const configuration = {
		organization: { name },
		network: { listen: [network.listen], bootstrap: network.bootstrap },
		policy: {
			maximumEpsilon: allowed,
			maximumDelta: DELTA,
			techniques: ["federated_learning", "query", "differential_privacy"],
			dataSets: [job.data.set],
			autoApproveJobs: true,
			autoApproveMembers: true,
		},
		budgets: { epsilon: allowed, delta: DELTA },
		health: { port: 0 },
	};
	await writeFile(configFile, `# Written by the testnet.\n${stringify(configuration)}`, { mode: 0o600 });
}
