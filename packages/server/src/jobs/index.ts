export { EXCLUSIVE_KINDS, type JobPayloads, type RestorePayload } from './job.ts'
export {
  deleteJobsOfTasks, findJobOfTask, findLeasedJob, finishJob, insertJob, leaseJobs, listCancelledJobs, listLeasedJobs, listLiveJobs,
  listLiveRestores, parseJobPayload, requestCancellation, requeueJob, reserveRoom, sumReserved, withdrawJob, WRITERS_PER_VAULT, type NewJob,
} from './job-store.ts'
