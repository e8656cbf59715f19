/** How a command ends, for scripts. `opencbr --help` and docs/operating/cli.md print this table. */
export const exitCodes = {
  success: { code: 0, meaning: 'It is done.' },
  failure: { code: 1, meaning: 'It failed: an error of the server (5xx), of this machine or of the program.' },
  usage: { code: 2, meaning: 'The command line is wrong: an unknown option, a missing value, an ambiguous name.' },
  notFound: { code: 3, meaning: 'What the command names does not exist (404).' },
  refused: { code: 4, meaning: 'The service refused: credentials, permission, a bad value or the wrong state (other 4xx).' },
  taskFailed: { code: 5, meaning: 'A task that was waited for failed, timed out or was skipped.' },
  unreachable: { code: 6, meaning: 'The server cannot be reached.' },
  stillRunning: { code: 7, meaning: 'The time of --timeout passed before the task ended; the task goes on.' },
  interrupted: { code: 130, meaning: 'Ctrl-C while waiting; the task goes on.' },
} as const satisfies Record<string, { code: number, meaning: string }>

export type Ending = keyof typeof exitCodes

/** Ends a command with a message for people and an exit code for scripts. */
export class CommandFailure extends Error {
  override name = 'CommandFailure'
  readonly ending: Ending
  /** What the API answered, word for word, for `--json`. */
  readonly answer: unknown
  constructor(ending: Ending, message: string, options: ErrorOptions & { answer?: unknown } = {}) {
    super(message, options)
    this.ending = ending
    this.answer = options.answer
  }
}
