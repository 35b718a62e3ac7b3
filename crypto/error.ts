/**
 * The base of every error Althing throws on purpose.
 *
 * An error carries a stable `code` (dotted, `area.reason`), a sentence that says what is
 * wrong, where, and what to do, and plain `facts` that survive a thread or process
 * boundary. Secrets never go into `message` or `facts`.
 */
export class AlthingError<Code extends string = string> extends Error {
	override readonly name: string = "AlthingError";
	readonly code: Code;
	readonly facts: Readonly<Record<string, unknown>>;

	constructor(
		code: Code,
		message: string,
		facts: Readonly<Record<string, unknown>> = {},
		options?: ErrorOptions,
	) {
		super(message, options);
		this.code = code;
		this.facts = facts;
	}
}

/** True when `error` is an {@link AlthingError} with exactly this code. */
export function hasCode<Code extends string>(error: unknown, code: Code): error is AlthingError<Code> {
	return error instanceof AlthingError && error.code === code;
}
