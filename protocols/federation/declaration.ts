/** What an organization says about itself when it founds or joins a federation. */
import { multiaddr } from "@multiformats/multiaddr";
import { z } from "zod";

export const federationName = z
	.string()
	.regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "must be 1-63 of a-z 0-9 . _ - and begin with a letter or digit");

/** Shown to people as is, so no control or direction characters that could disguise it. */
export const organizationName = z
	.string()
	.min(1)
	.max(128)
	.refine((text) => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text), "must not contain control characters")
	.refine((text) => text === text.normalize("NFC").trim(), "must be trimmed, NFC-normalized text");

/** Hex SHA-256 of the founding charter. */
export const federationIdText = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 lower-case hex digits");

/** Bounded so that a charter of the largest federation fits one message. */
export const addresses = z
	.array(
		z.string().min(1).max(256).refine(isMultiaddr, "must be a multiaddr such as /ip4/192.0.2.1/tcp/4001"),
	)
	.max(4);

export const declarationSchema = z.strictObject({
	organization: organizationName,
	/** Declared data characteristics and software; nobody can check them, so nothing depends on them. */
	declared: z.strictObject({
		/** Training records the organization brings, about. */
		records: z.int().min(0).optional(),
		/** Name and version of the node's software. */
		software: z.string().max(64).optional(),
	}),
	addresses,
});

export type Declaration = z.infer<typeof declarationSchema>;

function isMultiaddr(text: string): boolean {
	try {
		multiaddr(text);
		return true;
	} catch {
		return false;
	}
}
