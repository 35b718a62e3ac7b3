/** What the testnet says: lines for people, or one JSON object a line. */
import { createColors } from "picocolors";

export type Tone = "plain" | "good" | "bad" | "notable" | "faint";

export interface Reporter {
	readonly json: boolean;
	/** Says one thing: `text` to people, `{ event, at, ...facts }` to programs; `at` is in seconds since the start. */
	say(event: string, text: string, facts?: Readonly<Record<string, unknown>>, tone?: Tone): void;
	/** For people alone: headings and empty lines. */
	text(line: string): void;
}

export function createReporter(
	json: boolean,
	stdout: { write(text: string): unknown; readonly isTTY?: boolean },
): Reporter {
	const mayColor = !json && stdout.isTTY === true && process.env.NO_COLOR === undefined;
	const { green, red, yellow, dim } = createColors(mayColor);
	const toned: Record<Tone, (text: string) => string> = {
		plain: (text) => text,
		good: green,
		bad: red,
		notable: yellow,
		faint: dim,
	};
	return {
		json,
		say: (event, text, facts = {}, tone = "plain") => {
			stdout.write(
				`${json ? JSON.stringify({ event, at: Math.round(performance.now()) / 1000, ...facts }) : toned[tone](text)}\n`,
			);
		},
		text: (line) => {
			if (!json) stdout.write(`${line}\n`);
		},
	};
}
