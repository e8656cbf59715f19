export { inspectPath, type InspectedPath, type InspectedType, type InspectOptions, type PathRefusal } from './inspect-path.ts'
