// Who gets the partitions of a sink's group: one member all of them. Splitting them, as kafkajs' round robin does, would leave
// each of two workers with half a source.
import kafkajs from "kafkajs";
import type { GroupMember, GroupMemberAssignment, PartitionAssigner } from "kafkajs";
import type { TopicPartition } from "../../core/event-log.ts";

const { AssignerProtocol } = kafkajs;

/** The protocol's name in the group; members must agree on one. */
export const ASSIGNER = "tailrace-one-worker";
/** Of the consumer protocol: subscription and assignment without owned partitions. Brokers read them, too. */
const VERSION = 0;

/** What a member tells the group's leader about itself. */
export type Claim = {
  /** ms since 1970 when the member got the partitions; null: it does not have them. */
  readonly holdsSince: number | null;
  readonly partitions: Readonly<Record<string, readonly number[]>>;
};

/** An assigner whose member asks for `partitions` and says with `holdsSince`, asked at every join, whether it has them already. */
export function oneWorkerAssigner(partitions: readonly TopicPartition[], holdsSince: () => number | null): PartitionAssigner {
  const wanted = byTopic(partitions);
  return () => ({
    name: ASSIGNER,
    version: VERSION,
    protocol: ({ topics }) => ({
      name: ASSIGNER,
      metadata: AssignerProtocol.MemberMetadata.encode({
        version: VERSION,
        topics,
        userData: Buffer.from(JSON.stringify({ holdsSince: holdsSince(), partitions: wanted } satisfies Claim)),
      }),
    }),
    assign: ({ members }) => Promise.resolve(assign(members)),
  });
}

function assign(members: readonly GroupMember[]): GroupMemberAssignment[] {
  const claims = members.map(({ memberId, memberMetadata }) => ({ memberId, claim: readClaim(memberMetadata) }));
  const chosen = choose(claims);
  return claims.map(({ memberId, claim }) => ({
    memberId,
    memberAssignment: AssignerProtocol.MemberAssignment.encode({
      version: VERSION,
      assignment: memberId === chosen ? mutable(claim?.partitions ?? {}) : {},
      userData: Buffer.alloc(0),
    }),
  }));
}

/** The member that has held the partitions longest; without one, the first by id. null claims (not ours to read) get nothing. */
export function choose(claims: readonly { readonly memberId: string; readonly claim: Claim | null }[]): string | null {
  const since = (claim: Claim | null): number => claim?.holdsSince ?? Infinity;
  const readable = claims.filter(({ claim }) => claim !== null);
  readable.sort((a, b) =>
    since(a.claim) === since(b.claim) ? (a.memberId < b.memberId ? -1 : 1) : since(a.claim) < since(b.claim) ? -1 : 1,
  );
  return readable[0]?.memberId ?? null;
}

function readClaim(memberMetadata: Buffer): Claim | null {
  try {
    const userData = AssignerProtocol.MemberMetadata.decode(memberMetadata)?.userData;
    return userData === undefined ? null : (JSON.parse(userData.toString()) as Claim);
  } catch {
    return null;
  }
}

function byTopic(partitions: readonly TopicPartition[]): Record<string, number[]> {
  const topics: Record<string, number[]> = {};
  for (const { topic, partition } of partitions) (topics[topic] ??= []).push(partition);
  return topics;
}

function mutable(partitions: Claim["partitions"]): Record<string, number[]> {
  return Object.fromEntries(Object.entries(partitions).map(([topic, numbers]) => [topic, [...numbers]]));
}
