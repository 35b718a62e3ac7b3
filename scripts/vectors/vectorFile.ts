/** Files of reference figures, schema "dp-reference-vectors/1". */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";

const SCHEMA = "dp-reference-vectors/1";

/** A number, one of JSON's missing ones, or null where the reference has none. */
const figure = z.union([
	z.number(),
	z.literal("inf").transform(() => Number.POSITIVE_INFINITY),
	z.literal("-inf").transform(() => Number.NEGATIVE_INFINITY),
	z.null(),
]);

const entrySchema = z.object({
	id: z.string(),
	family: z.string(),
	params: z.record(z.string(), z.unknown()),
	expected: z.record(z.string(), z.union([figure, z.array(figure), z.boolean(), z.string()])),
	primary: z.string(),
	rtol: z.number().positive(),
	atol: z.number().nonnegative().default(0),
	anchor_below_truth: z.boolean().optional(),
	note: z.string().optional(),
});

const fileSchema = z.object({ schema: z.literal(SCHEMA), entries: z.array(entrySchema).min(1) });

/** One reference figure with its parameters. */
export type VectorEntry = z.infer<typeof entrySchema>;

/**
 * The entries of a file.
 * @throws AlthingError `vectors.unreadable`, `vectors.unknown_schema`
 */
export function readVectorFile(path: string): VectorEntry[] {
	let value: unknown;
	try {
		value = JSON.parse(readFileSync(path, "utf8"));
	} catch (cause) {
		throw new AlthingError(
			"vectors.unreadable",
			`${path} cannot be read as JSON: ${(cause as Error).message}.`,
			{
				path,
			},
		);
	}
	const parsed = fileSchema.safeParse(value);
	if (parsed.success) return parsed.data.entries;
	const issue = parsed.error.issues[0];
	throw new AlthingError(
		"vectors.unknown_schema",
		`${path} is not a file of schema "${SCHEMA}": at "${issue?.path.join(".") ?? ""}", ${issue?.message ?? "unknown shape"}.`,
		{ path },
	);
}
