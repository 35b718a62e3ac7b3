/** How the figures of one family are computed here. */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";

/** Computed figures by the name they have in an entry's `expected`; null at orders where none exists. */
export type Figures = Readonly<Record<string, number | readonly number[]>>;

/** A family of reference figures. */
export interface Family {
	/**
	 * @param primary the figure the entry is about; others may be left out
	 * @throws AlthingError for parameters this family does not have, or values out of range
	 */
	readonly evaluate: (params: unknown, primary: string) => Figures;
	/** The same figures with the reference library's RDP between the integers (`librarySeries.ts`), where they depend on it. */
	readonly byLibrarySeries?: (params: unknown) => Figures;
}

/** A family whose parameters have that shape; further parameters would change the meaning and are refused. */
export function family<Shape extends z.ZodRawShape>(
	shape: Shape,
	evaluate: (params: z.infer<z.ZodObject<Shape>>, primary: string) => Figures,
	byLibrarySeries?: (params: z.infer<z.ZodObject<Shape>>) => Figures,
): Family {
	const schema = z.strictObject(shape);
	const read = (params: unknown): z.infer<z.ZodObject<Shape>> => {
		const parsed = schema.safeParse(params);
		if (parsed.success) return parsed.data as z.infer<z.ZodObject<Shape>>;
		const issue = parsed.error.issues[0];
		throw new AlthingError(
			"vectors.unknown_params",
			`at "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "unknown shape"}`,
		);
	};
	return {
		evaluate: (params, primary) => evaluate(read(params), primary),
		...(byLibrarySeries === undefined
			? {}
			: { byLibrarySeries: (params: unknown) => byLibrarySeries(read(params)) }),
	};
}
