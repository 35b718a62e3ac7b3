/**
 * The compiled graphs of this thread: shared between trainers of one model, the least recently used
 * released when there are too many, all of a model's when its last trainer is closed.
 */
import type { InferenceSession } from "onnxruntime-node";

/** A few models with a few programs and batch sizes each. Every one holds the memory of its step. */
const CAPACITY = 16;

interface Graph {
	readonly owner: string;
	readonly session: Promise<InferenceSession>;
	/** Steps running on it; it is not released under them. */
	running: number;
	released: boolean;
}

export class CompiledGraphs {
	readonly #capacity: number;
	/** From the least to the most recently used. */
	readonly #graphs = new Map<string, Graph>();
	readonly #trainers = new Map<string, number>();

	constructor(capacity = CAPACITY) {
		this.#capacity = capacity;
	}

	/** A trainer of the model named `owner` begins. */
	open(owner: string): void {
		this.#trainers.set(owner, (this.#trainers.get(owner) ?? 0) + 1);
	}

	/** A trainer ends; the last one takes the model's graphs with it. */
	async close(owner: string): Promise<void> {
		const left = (this.#trainers.get(owner) ?? 1) - 1;
		if (left > 0) {
			this.#trainers.set(owner, left);
			return;
		}
		this.#trainers.delete(owner);
		await Promise.all(
			[...this.#graphs].filter(([, graph]) => graph.owner === owner).map(([key]) => this.#drop(key)),
		);
	}

	/** Runs a step on the graph of `owner` named `name`, compiled if it is not there. */
	async use<R>(
		owner: string,
		name: string,
		compile: () => Promise<InferenceSession>,
		step: (session: InferenceSession) => Promise<R>,
	): Promise<R> {
		const key = `${owner} ${name}`;
		const graph = this.#graphs.get(key) ?? { owner, session: compile(), running: 0, released: false };
		this.#graphs.delete(key);
		this.#graphs.set(key, graph);
		graph.running += 1;
		try {
			for (const oldest of this.#graphs.keys()) {
				if (this.#graphs.size <= this.#capacity) break;
				await this.#drop(oldest);
			}
			return await step(await graph.session);
		} catch (error) {
			// A graph that does not compile must not be remembered.
			await graph.session.catch(() => {
				if (this.#graphs.get(key) === graph) this.#graphs.delete(key);
			});
			throw error;
		} finally {
			graph.running -= 1;
			if (this.#graphs.get(key) !== graph) await release(graph);
		}
	}

	async #drop(key: string): Promise<void> {
		const graph = this.#graphs.get(key);
		this.#graphs.delete(key);
		if (graph) await release(graph);
	}
}

async function release(graph: Graph): Promise<void> {
	if (graph.running > 0 || graph.released) return;
	graph.released = true;
	const [session] = await Promise.allSettled([graph.session]);
	if (session.status === "fulfilled") await session.value.release();
}
