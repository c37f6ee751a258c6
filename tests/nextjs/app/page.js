"use client";

// A page that shows what its stream says, as applications do; the tests read the list.
import { useEffect, useState } from "react";

export default function Page() {
  const [lines, setLines] = useState([]);
  useEffect(() => {
    const note = (line) => setLines((lines) => [...lines, line]);
    const organization = new URLSearchParams(location.search).get("organizationId");
    const source = new EventSource(`/api/realtime/stream?organizationId=${organization}`);
    source.addEventListener("connected", (event) => {
      const { userId, connectionId } = JSON.parse(event.data);
      window.connectionId = connectionId;
      note(`connected ${userId}`);
    });
    source.onmessage = (event) => note(`event ${JSON.parse(event.data).payload.record.id}`);
    source.onerror = () => note("error");
    return () => source.close();
  }, []);
  return (
    <ol>
      {lines.map((line, index) => (
        <li key={index}>{line}</li>
      ))}
    </ol>
  );
}
