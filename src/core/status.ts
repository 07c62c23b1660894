/** Status codes that travel on the wire. Their numbers are part of the protocol. */

/** Outcome of an action, reported by a worker (or made by the controller on its behalf). */
export const ActionStatus = {
  success: 0,
  cancelled: 1,
  runtimeError: 2,
  shuttingDown: 3,
  unknownModel: 10,
  couldNotStartInTime: 11,
  invalidAction: 12,
  invalidGpu: 13,
  weightsNotPresent: 20,
  weightsAlreadyLoaded: 21,
  weightsInUse: 22,
  weightsChanged: 23,
  invalidInput: 30,
  invalidBatchSize: 31,
  invalidModelId: 40,
  invalidModelPath: 41,
  sendTooLate: 45,
  loadWeightsTooEarly: 50,
  loadWeightsTooLate: 51,
  loadWeightsUnknownModel: 52,
  loadWeightsInsufficientCache: 53,
  loadWeightsConcurrentModification: 54,
  evictTooEarly: 60,
  evictTooLate: 61,
  evictUnknownModel: 62,
  evictNotInCache: 63,
  copyInputTooEarly: 70,
  copyInputTooLate: 71,
  copyInputUnknownModel: 72,
  copyInputInvalidBatchSize: 73,
  copyInputHostAllocation: 74,
  copyInputInvalidInput: 75,
  copyInputPoolExhausted: 76,
  copyInputBadSizes: 77,
  copyInputBadDecompression: 78,
  execTooEarly: 80,
  execTooLate: 81,
  execWeightsMissing: 82,
  execWorkspaceExhausted: 83,
  execConcurrentModification: 84,
  copyOutputTooEarly: 90,
  copyOutputTooLate: 91,
  copyOutputHostAllocation: 92,
} as const;
export type ActionStatus = typeof ActionStatus[keyof typeof ActionStatus];

/** Outcome of a client's request, answered by the controller. */
export const RequestStatus = {
  success: 0,
  error: 1,
  timeout: 4,
  initializing: 5,
  invalidRequest: 6,
  skipped: 7,
  couldNotStartInTime: 8,
  /** Refused at the door: too many requests wait, or too many of this user's. */
  overloaded: 9,
  /** Nothing can be served now: no worker that has the model is connected, or the controller stops. */
  unavailable: 10,
} as const;
export type RequestStatus = typeof RequestStatus[keyof typeof RequestStatus];
