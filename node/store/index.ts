/** The store's public face: `openStore` for the node, `openJournal` for a journal alone. */
export type { Blobs } from "./blobs.ts";
export type { Collection, Durability } from "./collection.ts";
export { type Journal, type JournalRecord, type JournalRecovery, openJournal } from "./journal.ts";
export * from "./records.ts";
export { openStore, type Store, type StoreRecovery } from "./store.ts";
