/** Orders of dp_accounting's RdpAccountant; figures of its RDP are compared at these, finer ones would be tighter. */
export const LIBRARY_ORDERS: readonly number[] = [
	...Array.from({ length: 99 }, (_, i) => (11 + i) / 10),
	...Array.from({ length: 53 }, (_, i) => 11 + i),
	...[128, 256, 512, 1024],
];
