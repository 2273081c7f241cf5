// Runs before each test file that uses servers: tests have kafkajs clients of their own, and the service's mend is for them too.
import { mendRequestQueue } from "../../src/log/kafka/request-queue.ts";

mendRequestQueue();
