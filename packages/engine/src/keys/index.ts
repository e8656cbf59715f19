/** What can be done before a repository is opened, and loads nothing of what opening it takes. */
export { prepareScryptThreads } from '../crypto/scrypt-threads.ts'
