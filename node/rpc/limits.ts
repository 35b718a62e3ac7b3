/** What one caller may cost the node. */
import type { RateLimit } from "./rateLimit.ts";

export interface RpcLimits {
	/** Largest JSON request body. */
	readonly bodyBytes: number;
	/** Time a method may take where its definition does not say. */
	readonly callTimeoutMs: number;
	/** Time a client may take to send its request. */
	readonly requestTimeoutMs: number;
	/** For each token. */
	readonly rate: RateLimit;
	/** For all requests without a valid token together. */
	readonly unauthenticatedRate: RateLimit;
	/** Event streams open at once. */
	readonly streams: number;
	readonly connections: number;
}

export const defaultLimits: RpcLimits = {
	bodyBytes: 1024 * 1024,
	callTimeoutMs: 30_000,
	requestTimeoutMs: 20_000,
	rate: { burst: 100, perSecond: 50 },
	unauthenticatedRate: { burst: 20, perSecond: 2 },
	streams: 32,
	connections: 128,
};
