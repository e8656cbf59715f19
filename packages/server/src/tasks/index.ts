export { cancelTask } from './cancel-task.ts'
export { retryTask } from './retry-task.ts'
