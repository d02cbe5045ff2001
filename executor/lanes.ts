// Owns how many chunks overlap on a device: one is planned, read and copied while another is computed.

export const LANES_PER_DEVICE = 2;
