export { populate, populateDirectory, PopulateRefusal, type Populated, type PopulateOptions } from './populate.ts'
