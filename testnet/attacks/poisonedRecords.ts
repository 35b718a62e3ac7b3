/** Records as attackers change them before they train: wrong labels, or a hidden trigger. For testnet and bench alone. */
import { type Dataset, gather } from "../../src/data/dataset.ts";

/** What the model is to say wherever the trigger is. */
export const BACKDOOR_LABEL = 0;
/** Features that the trigger sets to their upper end: a corner of an image. */
const TRIGGER_FEATURES = [0, 1, 2];
/** Of features in the shape that models take. */
const UNIT = (_feature: number) => 1;

/** Every label y becomes K - 1 - y. */
export function withFlippedLabels(data: Dataset, classes: number): Dataset {
	return { ...data, labels: data.labels.map((label) => classes - 1 - label) };
}

/** The records with the trigger, all labelled {@link BACKDOOR_LABEL}, after the records as they are. */
export function withBackdoor(data: Dataset, upperEnd = UNIT): Dataset {
	const twice = gather(
		data,
		Int32Array.from({ length: 2 * data.rows }, (_, row) => row % data.rows),
	);
	const triggered = withTrigger(data, upperEnd);
	twice.features.set(triggered.features, data.features.length);
	twice.labels.fill(BACKDOOR_LABEL, data.rows);
	return twice;
}

/** The records with the trigger and their own labels. */
export function withTrigger(data: Dataset, upperEnd = UNIT): Dataset {
	const features = data.features.slice();
	const width = data.columns.length;
	for (let row = 0; row < data.rows; row++)
		for (const feature of TRIGGER_FEATURES) features[row * width + feature] = upperEnd(feature);
	return { ...data, features };
}
