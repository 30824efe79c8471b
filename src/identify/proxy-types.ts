/** What a PROXY header can say, and how reading one can end. */

import type { Endpoint } from "../access/types.ts";
import type { Scope } from "./addresses.ts";

/** One extension of a version 2 header, as it came: hostile bytes, for the record only. */
export interface Tlv {
  /** 0 to 255. */
  readonly type: number;
  readonly value: Uint8Array;
}

/** A header that was read completely and is right in every part. */
export interface ProxyHeader {
  readonly version: 1 | 2;
  /**
   * Who the client is. "announced": the endpoints of the header; "unix": the proxy's own client came over a unix socket;
   * "socket": the header tells nothing (v1 UNKNOWN, v2 UNSPEC), so the endpoints of the socket count;
   * "local": the proxy speaks for itself, as in a health check (v2 LOCAL), so the endpoints of the socket count.
   */
  readonly origin: "announced" | "unix" | "socket" | "local";
  /** Only where the origin is "announced"; canonical addresses. */
  readonly client?: Endpoint;
  readonly server?: Endpoint;
  /** In their order; empty in version 1 and where the block of addresses is to be ignored. */
  readonly tlvs: readonly Tlv[];
}

/**
 * Why there is no header to believe. "not_proxy": something else came; "malformed": it breaks the document; "too_long": it is,
 * or says that it is, longer than the bound; "checksum": its CRC32c is wrong; "refused_address": it announces an address that
 * no client has; "timeout", "closed": it did not come completely.
 */
export type ProxyFault =
  "not_proxy" | "malformed" | "too_long" | "checksum" | "refused_address" | "timeout" | "closed";

/** The end of reading without a header. The message is ours alone, no byte of the peer is in it. */
export interface ProxyRefusal {
  readonly kind: "refused";
  readonly fault: ProxyFault;
  readonly message: string;
}

/** What the bytes so far amount to. */
export type Parsed =
  | { readonly kind: "more" }
  /** `length`: bytes of the header; everything behind them is payload. */
  | { readonly kind: "header"; readonly header: ProxyHeader; readonly length: number }
  | ProxyRefusal;

/** Bounds of one header. */
export interface ProxyLimits {
  /** A header that is longer, or says so, is refused. */
  readonly maxBytes: number;
  /** Kinds of addresses that nobody may announce; absent = those that no client can have. */
  readonly refuse?: readonly Scope[];
}

/** The refusal for a fault. */
export function refusal(fault: ProxyFault, message: string): ProxyRefusal {
  return { kind: "refused", fault, message };
}
