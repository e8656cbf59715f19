export { EXCLUSIVE_KINDS, type JobPayloads, type RestorePayload } from './job.ts'
export {
  deleteJobsOfTasks, findLeasedJob, finishJob, insertJob, leaseJobs, listLeasedJobs, listLiveJobs, parseJobPayload, requeueJob,
  type NewJob,
} from './job-store.ts'
