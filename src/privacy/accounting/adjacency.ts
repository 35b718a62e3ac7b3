/** Which two data sets count as neighbours: one record more or less, or one record exchanged for another. */
export type Adjacency = "addRemove" | "replaceOne";
