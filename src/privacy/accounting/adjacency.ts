/**
 * Which data sets count as neighbours: one record more or fewer, or one record exchanged for
 * another. The second is the first one twice, so it costs more.
 */
export type Adjacency = "addRemove" | "replaceOne";
