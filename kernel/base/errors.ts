/**
 * Errors that are nobody's bug here: what a user, an operator, a file or a peer got wrong. Each names
 * the thing and what was expected. (A guest's mistakes become traps or status values, never throws;
 * our own become `Broken`.)
 */

/** The host refused or lacks something: a file, memory, a program. */
export class HostError extends Error {
  /** "HostError". */
  override name = "HostError";
}

/** A configuration, option or argument is wrong. */
export class ConfigError extends Error {
  /** "ConfigError". */
  override name = "ConfigError";
}

/** A replay and its recording are not the same run: the guest did what the recording did not. */
export class Divergence extends Error {
  /** "Divergence". */
  override name = "Divergence";
}

/** A replay has come to the end of what its log holds. */
export class LogExhausted extends Error {
  /** "LogExhausted". */
  override name = "LogExhausted";
}

/** Bytes from outside do not have the format they claim. */
export class FormatError extends Error {
  /** "FormatError". */
  override name = "FormatError";
}
