// The stream that the application had before, which the rewrite has to win against.
export const dynamic = "force-dynamic";

export function GET() {
  return new Response("the application's own stream", { status: 500 });
}
