export { deliverEvents, keepDelivering } from './deliver-events.ts'
