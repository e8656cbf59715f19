export { DEPLOYMENT_TABLES, LEFT_OUT_TABLES, readManifest, VAULT_TABLES } from './manifest.ts'
export { keepManifests, writeManifests } from './write-manifests.ts'
export { rebuildCatalogue, type Rebuilt, type RebuiltVault } from './rebuild-catalogue.ts'
