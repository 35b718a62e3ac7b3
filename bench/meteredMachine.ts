/** An aggregation session that counts the CPU time of its steps and the bytes that pass. */
import type {
	AggregationMessage,
	AggregationOutput,
	AggregationSession,
	AggregationTask,
	AggregationTaskResult,
} from "../protocols/aggregation/index.ts";
import type { Effects, Machine, PeerId } from "../protocols/contract.ts";

type Stepped = Effects<AggregationMessage, AggregationTask, AggregationOutput>;

export class MeteredMachine
	implements Machine<AggregationMessage, AggregationTask, AggregationTaskResult, AggregationOutput>
{
	/** Bytes of the message that the simulation decoded last: it delivers it next. */
	static arriving = 0;
	/** The vector work that the simulation did last: it hands it over next. */
	static worked: { readonly kind: string; readonly seconds: number } | undefined;

	/** CPU seconds by phase (`advertise`, ...) and by kind of vector work (`work: mask`, ...). */
	readonly seconds = new Map<string, number>();
	bytesSent = 0;
	bytesReceived = 0;
	readonly #session: AggregationSession;
	#phase = "start";

	constructor(session: AggregationSession) {
		this.#session = session;
	}

	get totalSeconds(): number {
		return [...this.seconds.values()].reduce((total, seconds) => total + seconds, 0);
	}

	sent(bytes: number): void {
		this.bytesSent += bytes;
	}

	start(nowMs: number): Stepped {
		return this.#metered(() => this.#session.start(nowMs));
	}

	receive(from: PeerId, message: AggregationMessage, nowMs: number, blob?: Uint8Array): Stepped {
		this.bytesReceived += MeteredMachine.arriving + (blob?.length ?? 0);
		return this.#metered(() => this.#session.receive(from, message, nowMs, blob));
	}

	expired(timerId: string, nowMs: number): Stepped {
		return this.#metered(() => this.#session.expired(timerId, nowMs));
	}

	completed(workId: string, result: AggregationTaskResult | Error, nowMs: number): Stepped {
		const worked = MeteredMachine.worked;
		if (worked !== undefined) this.#add(`work: ${worked.kind}`, worked.seconds);
		MeteredMachine.worked = undefined;
		return this.#metered(() => this.#session.completed(workId, result, nowMs));
	}

	provideInput(values: Uint32Array, nowMs: number): Stepped {
		return this.#metered(() => this.#session.provideInput(values, nowMs));
	}

	#metered(step: () => Stepped): Stepped {
		const before = process.threadCpuUsage();
		const effects = step();
		const { user, system } = process.threadCpuUsage(before);
		this.#add(this.#phase, (user + system) / 1e6);
		for (const output of effects.output ?? []) if (output.kind === "phase") this.#phase = output.phase;
		return effects;
	}

	#add(kind: string, seconds: number): void {
		this.seconds.set(kind, (this.seconds.get(kind) ?? 0) + seconds);
	}
}
