// NextAuth 4 as its documentation has it for the app router. Whoever gives a name is signed in.
import NextAuth from "next-auth";
import CredentialsProvider from "next-auth/providers/credentials";

const handler = NextAuth({
  session: { strategy: "jwt" },
  providers: [
    CredentialsProvider({
      name: "name",
      credentials: { name: { label: "Name" } },
      authorize: async ({ name }) => ({ id: name, name }),
    }),
  ],
});

export { handler as GET, handler as POST };
