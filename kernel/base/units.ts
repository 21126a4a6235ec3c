/**
 * Sizes in bytes: constants, and the text form that users write ("512M", "3G").
 */
import { ConfigError } from "./errors.ts";

/** 1024 bytes. */
export const KiB = 1024;
/** 1024 KiB. */
export const MiB = 1024 * KiB;
/** 1024 MiB. */
export const GiB = 1024 * MiB;
/** Bytes of a guest page. */
export const PAGE_BYTES = 4096;

const UNITS: Readonly<Record<string, number>> = { "": 1, K: KiB, M: MiB, G: GiB };

/** Bytes of a size such as "512M", "2G", "65536". Throws ConfigError for anything else. */
export function parseSize(text: string): number {
  const match = /^(\d+)\s*([KMG]?)(?:i?B)?$/i.exec(text.trim());
  const unit = match ? UNITS[match[2]!.toUpperCase()] : undefined;
  if (!match || unit === undefined) {
    throw new ConfigError(`"${text}" is no size: expected a number with K, M or G, such as 512M`);
  }
  return Number(match[1]) * unit;
}

/** A size as users write it, in the largest unit that divides it or else with one decimal. */
export function formatSize(bytes: number): string {
  for (const [name, unit] of [["G", GiB], ["M", MiB], ["K", KiB]] as const) {
    if (bytes >= unit) {
      const value = bytes / unit;
      return `${Number.isInteger(value) ? value : value.toFixed(1)}${name}`;
    }
  }
  return `${bytes}`;
}
