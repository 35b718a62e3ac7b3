/** A worker script that does what its tests ask. */
import { AlthingError } from "../../../crypto/error.ts";
import { serveTasks } from "../../../node/workers/serveTasks.ts";

export type EchoTask =
	| { readonly kind: "echo"; readonly value: unknown }
	| { readonly kind: "double"; readonly values: Float64Array<ArrayBuffer> }
	| { readonly kind: "refuse" }
	| { readonly kind: "throw" }
	| { readonly kind: "exit" }
	| { readonly kind: "throwLater" }
	| { readonly kind: "spin" }
	| { readonly kind: "hold"; readonly mib: number; readonly as: "buffers" | "objects" }
	| { readonly kind: "wait"; readonly gate: SharedArrayBuffer }
	| { readonly kind: "count"; readonly counter: SharedArrayBuffer };

serveTasks<EchoTask, unknown>((task) => {
	switch (task.kind) {
		case "echo":
			return { result: task.value };
		case "double":
			for (let i = 0; i < task.values.length; i += 1) task.values[i] = (task.values[i] ?? 0) * 2;
			return { result: task.values, transfer: [task.values.buffer] };
		case "refuse":
			throw new AlthingError("learning.bad_shape", "The shape is wrong.", { layer: 3 });
		case "throw":
			throw new TypeError("unexpected");
		case "exit":
			process.exit(9);
			break;
		case "throwLater":
			setImmediate(() => {
				throw new Error("outside");
			});
			return new Promise(() => undefined);
		case "spin":
			for (;;);
		case "hold":
			return { result: hold(task.mib, task.as) };
		case "wait":
			Atomics.wait(new Int32Array(task.gate), 0, 0);
			return { result: "opened" };
		case "count":
			Atomics.add(new Int32Array(task.counter), 0, 1);
			return { result: "counted" };
	}
	throw new Error("unknown task");
});

const held: unknown[] = [];
/** Of 56 bytes, and 8 for each in the list. */
const OBJECTS_IN_A_MIB = 2 ** 14;

/** Keeps so much memory, and goes on for as long as it is let. */
function hold(mib: number, as: "buffers" | "objects"): never {
	for (let i = 0; i < mib; i++)
		held.push(
			as === "buffers"
				? new Uint8Array(2 ** 20).fill(1)
				: Array.from({ length: OBJECTS_IN_A_MIB }, () => ({})),
		);
	for (;;);
}
