export { featuresOf, listFeatures, showFeature } from './features.ts'
export { refuseToCopyBackup, refuseToCopyVault, refuseToImportBackup, refuseToSyncVault } from './refuse-replication.ts'
