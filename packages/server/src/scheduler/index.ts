export { openScheduler, type Scheduler, type SchedulerOptions } from './scheduler.ts'
