/** What every mechanism says of itself before it releases anything. */
import type { PrivacyEvent } from "../accounting/events.ts";

export interface Mechanism {
	readonly name: string;
	/** Whose presence is hidden: what neighbouring inputs differ in. */
	readonly unit: "one record added or removed" | "one person's answer replaced";
	/** What the caller's values or scores may change by between neighbours; the mechanism relies on it. */
	readonly sensitivity: number;
	/** What one use costs, exactly what an accountant must be told. */
	readonly event: PrivacyEvent;
}
